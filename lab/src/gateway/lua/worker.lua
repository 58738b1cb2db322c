-- The life of a worker from its start to its end.

local check = require "check"
local follow = require "follow"
local peers = require "peers"
local settings = require "settings"

local M = {}

-- How often a worker without requests checks whether its view has changed.
local IDLE_LOOK = 0.05

function M.start()
  -- Workers of several gateways may have the same process id and start in the same second.
  ngx.update_time()
  math.randomseed(ngx.crc32_short(settings.listen .. ngx.worker.pid() .. ngx.now()))
  peers.load_include()
  follow.start()
  check.start()
  ngx.timer.every(IDLE_LOOK, function(premature)
    if premature then
      -- An exiting worker accepts no new requests.
      peers.farewell()
    else
      follow.refresh()
      peers.routed()
    end
  end)
end

return M
