-- Reads the pool from Consul over a cosocket, as upsync does: HTTP/1.0, no token. The pool is the keys below a
-- prefix, the passing instances of a service, or their SRV records.

local cjson = require "cjson.safe"
local settings = require "settings"

local M = {}

-- The server that answered last; after an error the next one is used.
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

local paths = {
  keys = "/v1/kv/" .. settings.prefix .. "?recurse",
  passing = "/v1/health/service/" .. settings.upstream .. "?passing",
}

-- Converts a list of instances to the form of keys.
local function as_entries(instances)
  local entries = {}
  for _, instance in ipairs(instances) do
    local host = instance.Service.Address
    if host == "" then
      host = instance.Node.Address
    end
    entries[#entries + 1] = { Key = host .. ":" .. instance.Service.Port }
  end
  return entries
end

-- Queries Consul's DNS server over TCP, so that no answer is truncated: the port is in the SRV record, the address in
-- the A record of its target.
local function fetch_records()
  local server = settings.consul[current]
  local resolver = require("nginx.dns.resolver")
  local asker, problem = resolver:new({ nameservers = { { server.host, settings.dns_port } }, timeout = 2000 })
  local answers
  if asker then
    local name = settings.upstream .. ".service.consul"
    answers, problem = asker:tcp_query(name, { qtype = asker.TYPE_SRV, additional_section = true })
  end
  -- No such name: no instance passes.
  if answers and answers.errcode == 3 then
    return {}, "1"
  end
  if not answers or answers.errcode then
    current = current % #settings.consul + 1
    return nil, nil, problem or answers.errstr
  end
  local hosts, entries = {}, {}
  for _, answer in ipairs(answers) do
    if answer.address then
      hosts[answer.name] = answer.address
    end
  end
  for _, answer in ipairs(answers) do
    if answer.target and hosts[answer.target] then
      entries[#entries + 1] = { Key = hosts[answer.target] .. ":" .. answer.port }
    end
  end
  return entries, tostring(ngx.now())
end

-- Queries the pool; with an index, Consul answers when something has changed since.
-- Returns the entries (nil when there are none) and the new index, or nil, nil and a problem.
function M.fetch(index)
  if settings.source == "srv" then
    return fetch_records()
  end
  local path = paths[settings.source]
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
  if settings.source == "passing" then
    entries = as_entries(entries)
  end
  return entries, new_index
end

return M
