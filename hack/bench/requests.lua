-- wrk's side of the benchmark: the texts of a file, one request after another, for every server
-- alike. The request is put together here as one string, because wrk.format costs several times
-- as much and the client shares the cores with the server that it measures.
--
-- Arguments after `--`, as key=value: texts (a file, one text a line), serial (the number before
-- the first pass's texts; without it the lines are sent as they are, one a request), batch (texts a
-- request), path, prefix and suffix (the body around the comma-separated texts), priority (the
-- X-Priority header), pause (ms before each request).

local texts, position = {}, 1
local serial, batch, head, prefix, suffix

local function whole(body)
  return head .. #body .. "\r\n\r\n" .. body
end

-- The lines become whole requests before the run: hits are so cheap for the server that joining
-- strings for each would be a good part of what is measured.
local function repeat_as_they_are()
  for i, text in ipairs(texts) do
    texts[i] = whole(prefix .. '"' .. text .. '"' .. suffix)
  end
  request = function()
    local next_request = texts[position]
    position = position % #texts + 1
    return next_request
  end
end

function init(args)
  local option = {}
  for _, argument in ipairs(args) do
    local key, value = argument:match("^(%w+)=(.*)$")
    option[key] = value
  end
  for line in io.lines(option.texts) do
    texts[#texts + 1] = line
  end
  serial, batch = tonumber(option.serial), tonumber(option.batch)
  prefix, suffix = option.prefix, option.suffix
  head = "POST " .. option.path .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port ..
    "\r\nContent-Type: application/json\r\n"
  if option.priority then
    head = head .. "X-Priority: " .. option.priority .. "\r\n"
  end
  head = head .. "Content-Length: "
  local pause = tonumber(option.pause or "0")
  if pause > 0 then
    delay = function() return pause end
  end
  if not serial then
    repeat_as_they_are()
  end
end

local function next_text()
  local text = '"' .. serial .. " " .. texts[position] .. '"'
  position = position + 1
  if position > #texts then
    position, serial = 1, serial + 1
  end
  return text
end

function request()
  local body
  if batch == 1 then
    body = prefix .. next_text() .. suffix
  else
    local list = {}
    for i = 1, batch do
      list[i] = next_text()
    end
    body = prefix .. table.concat(list, ",") .. suffix
  end
  return whole(body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"microseconds":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,' ..
    '"status":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write,
    errors.timeout, errors.status, latency:percentile(50), latency:percentile(99)))
end
