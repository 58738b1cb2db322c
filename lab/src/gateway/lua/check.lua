-- The gateway's own active check: one worker requests /ping of every peer; all workers use the result.
-- A peer of the initial list counts as up; a later one must pass its checks first.

local peers = require "peers"
local settings = require "settings"

local M = {}

local dict = ngx.shared.check

local function healthy(address)
  local host, port = address:match("^(.*):(%d+)$")
  local socket = ngx.socket.tcp()
  socket:settimeout(1000)
  if not socket:connect(host, tonumber(port)) then
    return false
  end
  socket:send("GET /ping HTTP/1.0\r\nHost: check\r\n\r\n")
  local line = socket:receive("*l")
  socket:close()
  return line ~= nil and line:match("^HTTP/%d%.%d 2%d%d") ~= nil
end

local function hold(address, held)
  local key = "held:" .. address
  if held then
    dict:set(key, true)
  else
    dict:delete(key)
  end
  dict:incr("generation", 1, 0)
end

local function examine(address)
  local rise, fall = "rise:" .. address, "fall:" .. address
  local held = dict:get("held:" .. address)
  if healthy(address) then
    dict:set(fall, 0)
    if dict:incr(rise, 1, 0) >= settings.check.rise and held then
      hold(address, false)
    end
  else
    dict:set(rise, 0)
    if dict:incr(fall, 1, 0) >= settings.check.fall and not held then
      hold(address, true)
    end
  end
end

local function run()
  local first = dict:get("begun") == nil
  dict:set("begun", true)
  while not ngx.worker.exiting() do
    local threads = {}
    for _, peer in ipairs(peers.all()) do
      local address = peer.address
      if not dict:get("known:" .. address) then
        dict:set("known:" .. address, true)
        if not first then
          hold(address, true)
        end
      end
      threads[#threads + 1] = ngx.thread.spawn(examine, address)
    end
    for _, thread in ipairs(threads) do
      ngx.thread.wait(thread)
    end
    first = false
    ngx.sleep(settings.check.interval_ms / 1000)
  end
end

function M.start()
  if settings.check and ngx.worker.id() == 0 then
    ngx.timer.at(0, function(premature)
      if not premature then
        run()
      end
    end)
  end
end

-- Returns the check's state of a peer.
function M.state(address)
  return {
    status = dict:get("held:" .. address) and "down" or "up",
    rise = dict:get("rise:" .. address) or 0,
    fall = dict:get("fall:" .. address) or 0,
  }
end

return M
