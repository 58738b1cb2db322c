-- How workers follow Consul: `upsync` and `immediate`, every worker on its own with a blocking query;
-- `poll`, one worker with a plain read for all.

local cjson = require "cjson.safe"
local kv = require "kv"
local peers = require "peers"
local settings = require "settings"

local M = {}

local shared = ngx.shared.kv

-- The addition of upsync to its interval: 0 to 999 ms, random for every worker and round.
local function upsync_pause()
  return (settings.interval_ms + math.random(0, 999)) / 1000
end

local function block_and_take(index)
  local entries, new_index, problem = kv.fetch(index)
  if problem then
    ngx.log(ngx.WARN, "consul: ", problem)
    return index, problem
  end
  peers.take(entries)
  return new_index
end

local function follow_upsync()
  local index
  while true do
    ngx.sleep(upsync_pause())
    index = block_and_take(index)
  end
end

local function follow_immediately()
  local index
  while true do
    local problem
    index, problem = block_and_take(index)
    if problem then
      ngx.sleep(0.2)
    end
  end
end

-- The one polling worker stores the reply where the others find it.
local function poll()
  while true do
    local entries, index, problem = kv.fetch()
    if problem then
      ngx.log(ngx.WARN, "consul: ", problem)
    elseif entries then
      shared:set("entries", cjson.encode(entries))
      shared:set("index", index)
    end
    ngx.sleep(settings.interval_ms / 1000)
  end
end

local seen

-- Reads the polling worker's reply, when it is new.
function M.refresh()
  if settings.follow ~= "poll" then
    return
  end
  local index = shared:get("index")
  if index and index ~= seen then
    seen = index
    peers.take(cjson.decode(shared:get("entries")))
  end
end

local loops = { upsync = follow_upsync, immediate = follow_immediately, poll = poll }

-- Runs the loop until the worker must exit: a waiting query must not keep it alive.
function M.start()
  if settings.follow == "poll" and ngx.worker.id() ~= 0 then
    return
  end
  local loop = loops[settings.follow]
  ngx.timer.at(0, function(premature)
    if premature then
      return
    end
    local thread = ngx.thread.spawn(loop)
    while not ngx.worker.exiting() do
      ngx.sleep(0.1)
    end
    ngx.thread.kill(thread)
  end)
end

return M
