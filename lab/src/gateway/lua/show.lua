-- The gateway's own locations: upsync's list, the check module's JSON, and a JSON table of peers.
-- The lists are those of the answering worker.

local check = require "check"
local follow = require "follow"
local peers = require "peers"
local settings = require "settings"

local M = {}

local UNKNOWN = "The upstream you requested does not exist. Please double-check the name"

local function open(content_type)
  if ngx.req.get_method() ~= "GET" and ngx.req.get_method() ~= "HEAD" then
    return ngx.exit(405)
  end
  follow.refresh()
  ngx.header["Content-Type"] = content_type
  if settings.worker_header then
    ngx.header["X-Worker"] = tostring(ngx.worker.pid())
  end
end

function M.upstream_list()
  open("text/plain")
  local query = ngx.var.args
  if query and query ~= "" and query:lower() ~= settings.upstream:lower() then
    return ngx.print(UNKNOWN)
  end
  local list = peers.all()
  ngx.print("Upstream name: ", settings.upstream, "; Backend server count: ", #list, "\n")
  for _, peer in ipairs(list) do
    ngx.print(
      "        server ", peer.address,
      " weight=", peer.weight,
      " max_fails=", peer.max_fails,
      " fail_timeout=", peer.fail_timeout, "s",
      peer.down and " down" or "", ";\n"
    )
  end
end

function M.upstream_status()
  open("application/json")
  local rows = {}
  for index, peer in ipairs(peers.all()) do
    local state = check.state(peer.address)
    rows[index] = string.format(
      '{"index": %d, "upstream": "%s", "name": "%s", "status": "%s", "rise": %d, "fall": %d, "type": "http", "port": 0}',
      index - 1, settings.upstream, peer.address, state.status, state.rise, state.fall
    )
  end
  ngx.say('{"servers": {"total": ', #rows, ', "generation": 1, "server": [', table.concat(rows, ", "), "]}}")
end

function M.peers()
  open("application/json")
  local rows = {}
  for index, peer in ipairs(peers.all()) do
    rows[index] = string.format(
      '{"address":"%s","routed":%s,"weight":%d,"in_flight":%d}',
      peer.address, tostring(peer.routed), peer.weight, ngx.shared.flights:get(peer.address) or 0
    )
  end
  ngx.say('{"peers":[', table.concat(rows, ","), "]}")
end

return M
