-- Smooth weighted round robin over this worker's routes; nothing is retried.

local balancer = require "ngx.balancer"
local follow = require "follow"
local peers = require "peers"

local M = {}

-- Answers 502 at once when no peer is routed, as nginx does; a balancer could only answer 500.
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
  -- Counted over all workers until the reply is complete, see `settle`.
  ngx.ctx.counted = best.address
  ngx.shared.flights:incr(best.address, 1, 0)
  local host, port = best.address:match("^(.*):(%d+)$")
  balancer.set_current_peer(host, tonumber(port))
end

-- The request has ended, in whatever way.
function M.settle()
  if ngx.ctx.counted then
    ngx.shared.flights:incr(ngx.ctx.counted, -1, 0)
  end
end

return M
