-- Makes wrk send each request of a list exactly once, say how many microseconds that took, and end.
--
-- wrk URL -- LIST CONNECTIONS [check]; a line of the list is a path, a tab, and headers joined by tabs. With
-- `check` it also reads the answers, which costs time, and says how many there were of each status.

local ffi = require("ffi")
ffi.cdef [[
  struct moment { long seconds; long nanoseconds; };
  int clock_gettime(int clock, struct moment *now);
]]

local requests, sent, probed, idle, connections, begin, statuses = {}, 0, false, 0, 0, 0, {}

local function microseconds()
  local now = ffi.new("struct moment")
  ffi.C.clock_gettime(1, now)
  return tonumber(now.seconds) * 1000000 + tonumber(now.nanoseconds) / 1000
end

function init(args)
  connections = tonumber(args[2])
  for line in io.lines(args[1]) do
    local path, headers = line:match("^(%S+)\t?(.*)$")
    headers = headers:gsub("\t", "\r\n")
    if headers ~= "" then headers = headers .. "\r\n" end
    requests[#requests + 1] = "GET " .. path .. " HTTP/1.1\r\nhost: " .. wrk.headers["Host"] .. "\r\n"
      .. "user-agent: regsweep\r\n" .. headers .. "\r\n"
  end
  if args[3] == "check" then
    response = function(status) statuses[status] = (statuses[status] or 0) + 1 end
  end
end

function request()
  if not probed then -- wrk looks at one request before it begins
    probed = true
    return requests[1]
  end
  if sent == 0 then begin = microseconds() end
  if sent < #requests then
    sent = sent + 1
    return requests[sent]
  end
  -- Nothing is left for this connection, whose last answer is here. wrk itself would sit out its time.
  idle = idle + 1
  if idle == connections then
    io.write(string.format("took %d\n", microseconds() - begin))
    for status, count in pairs(statuses) do io.write(string.format("status %d %d\n", status, count)) end
    io.flush()
    os.exit(0)
  end
  return ""
end
