-- This worker's own table of peers: the registry's last answer, the peers that the active check keeps out,
-- and so the peers that it routes to. Every change of the latter is written to a file.

local cjson = require "cjson.safe"
local settings = require "settings"

local M = {}

local check = ngx.shared.check

-- address -> { address, weight, max_fails, fail_timeout, down }
local peers = {}
-- Addresses in a fixed order, and the routed ones among them.
local order, routed = {}, {}
local is_routed = {}
local check_generation

local function now_ms()
  ngx.update_time()
  return math.floor(ngx.now() * 1000)
end

local function append(entry)
  entry.t = now_ms()
  entry.worker = ngx.worker.pid()
  local file = io.open(settings.views, "a")
  if file then
    file:write(cjson.encode(entry) .. "\n")
    file:close()
  end
end

local function is_down(value)
  return value == true or value == 1 or value == "1"
end

-- Reads a value as upsync does: names in any case, and an unreadable value is up with defaults.
local function parse_value(address, text)
  local peer = { address = address, weight = 1, max_fails = 2, fail_timeout = 10, down = false }
  local fields = cjson.decode(text or "")
  if type(fields) ~= "table" then
    return peer
  end
  for name, value in pairs(fields) do
    name = tostring(name):lower()
    if name == "down" then
      peer.down = is_down(value)
    elseif name == "weight" or name == "max_fails" or name == "fail_timeout" then
      if type(value) == "number" then
        peer[name] = value
      end
    end
  end
  return peer
end

local function parse_address(key)
  local host, port = key:match("([^/]*):(%d+)$")
  if host and host:match("^%d+%.%d+%.%d+%.%d+$") and tonumber(port) <= 65535 then
    return host .. ":" .. port
  end
end

local function rebuild()
  check_generation = check:get("generation")
  local now_routed = {}
  routed = {}
  for _, address in ipairs(order) do
    local peer = peers[address]
    if not peer.down and check:get("held:" .. address) == nil then
      routed[#routed + 1] = { address = address, weight = peer.weight, current = 0 }
      now_routed[address] = true
    end
  end
  local before = is_routed
  is_routed = now_routed
  for address in pairs(now_routed) do
    if not before[address] then
      append({ address = address, routed = true })
    end
  end
  for address in pairs(before) do
    if not now_routed[address] then
      append({ address = address, routed = false })
    end
  end
end

local function adopt(table_of_peers)
  peers = table_of_peers
  order = {}
  for address in pairs(peers) do
    order[#order + 1] = address
  end
  table.sort(order)
  rebuild()
end

-- Reads the entries of a reply. An answer without keys changes nothing, as in upsync; without instances the list is
-- empty.
function M.take(entries)
  local found, any = {}, false
  for _, entry in ipairs(entries or {}) do
    local address = parse_address(entry.Key)
    if address then
      local value = type(entry.Value) == "string" and ngx.decode_base64(entry.Value)
      found[address] = parse_value(address, value)
      any = true
    end
  end
  if any or (entries and settings.source ~= "keys") then
    adopt(found)
    M.dump()
  end
end

-- Writes the list that a new worker starts from, unless that list is fixed.
function M.dump()
  if settings.include_is_static then
    return
  end
  local temporary = settings.include .. "." .. ngx.worker.pid()
  local file = io.open(temporary, "w")
  if file then
    file:write(cjson.encode(peers))
    file:close()
    os.rename(temporary, settings.include)
  end
end

-- Starts from the list in the include file.
function M.load_include()
  local file = io.open(settings.include, "r")
  if file then
    local list = cjson.decode(file:read("*a"))
    file:close()
    if type(list) == "table" then
      adopt(list)
    end
  end
end

-- Returns the peers this worker routes to now.
function M.routed()
  if check:get("generation") ~= check_generation then
    rebuild()
  end
  return routed
end

-- Returns every peer of this worker, in order, each with `routed`.
function M.all()
  M.routed()
  local list = {}
  for _, address in ipairs(order) do
    local peer = peers[address]
    peer.routed = is_routed[address] == true
    list[#list + 1] = peer
  end
  return list
end

function M.farewell()
  append({ event = "exit" })
end

return M
