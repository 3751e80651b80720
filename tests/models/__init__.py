"""Real models, whole: exported by the command line, compared with what their library gives."""
