-- Smooth weighted round robin over what this worker routes to; nothing is tried a second time.

local balancer = require "ngx.balancer"
local follow = require "follow"
local peers = require "peers"

local M = {}

-- Answers 502 at once when there is nobody to route to, as nginx does; a balancer could only say 500.
function M.require_peer()
  follow.refresh()
  if #peers.routed() == 0 then
    return ngx.exit(502)
  end
end

function M.pick()
  local total, best = 0, nil
  for _, peer in ipairs(peers.routed()) do
    total = total + peer.weight
    peer.current = peer.current + peer.weight
    if not best or peer.current > best.current then
      best = peer
    end
  end
  if not best then
    return ngx.exit(ngx.ERROR)
  end
  best.current = best.current - total
  -- Counted over all workers until the reply is through, see `settle`.
  ngx.ctx.counted = best.address
  ngx.shared.flights:incr(best.address, 1, 0)
  local host, port = best.address:match("^(.*):(%d+)$")
  balancer.set_current_peer(host, tonumber(port))
end

-- The request is over, however it ended.
function M.settle()
  if ngx.ctx.counted then
    ngx.shared.flights:incr(ngx.ctx.counted, -1, 0)
  end
end

return M
