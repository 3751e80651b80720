"""What a model can be asked to do: a task names its request, its result and the way between."""

from predictor.tasks.task import ModelContext, Task, TaskRequest, TaskResult

__all__ = ["ModelContext", "Task", "TaskRequest", "TaskResult"]
