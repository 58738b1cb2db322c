-- Reads the pool's prefix from Consul over a cosocket, the way upsync asks: HTTP/1.0, no token.

local cjson = require "cjson.safe"
local settings = require "settings"

local M = {}

-- The server that answered last; another one is tried after an error.
local current = 1

local function exchange(server, path, read_timeout)
  local socket = ngx.socket.tcp()
  socket:settimeouts(1000, 1000, read_timeout)
  local connected, problem = socket:connect(server.host, server.port)
  if not connected then
    return nil, problem
  end
  local _, send_problem = socket:send("GET " .. path .. " HTTP/1.0\r\nHost: consul\r\n\r\n")
  if send_problem then
    socket:close()
    return nil, send_problem
  end
  local text, read_problem = socket:receive("*a")
  socket:close()
  if not text then
    return nil, read_problem
  end
  return text
end

-- Asks for the prefix; with an index, Consul answers when something has changed since.
-- Returns the entries (nil when there are none) and the new index, or nil, nil and a problem.
function M.fetch(index)
  local path = "/v1/kv/" .. settings.prefix .. "?recurse"
  local read_timeout = 2000
  if index then
    path = path .. "&wait=55s&index=" .. index
    read_timeout = 70000
  end
  local text, problem = exchange(settings.consul[current], path, read_timeout)
  if not text then
    current = current % #settings.consul + 1
    return nil, nil, problem
  end
  local status = tonumber(text:match("^HTTP/%d%.%d (%d+)"))
  local new_index = text:match("\r\n[Xx]%-[Cc]onsul%-[Ii]ndex: (%d+)")
  if status == 404 and new_index then
    return nil, new_index
  end
  local body = text:match("\r\n\r\n(.*)$")
  local entries = body and cjson.decode(body)
  if status ~= 200 or not new_index or type(entries) ~= "table" then
    current = current % #settings.consul + 1
    return nil, nil, "status " .. tostring(status)
  end
  return entries, new_index
end

return M
