-- This gateway's settings, as the lab wrote them.

local cjson = require "cjson.safe"

local file = assert(io.open(ngx.config.prefix() .. "settings.json", "r"))
local settings = assert(cjson.decode(file:read("*a")))
file:close()

return settings
