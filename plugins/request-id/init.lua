-- Gives every request an id that origin, client and logs share.
--
-- The id is the client's own where it sends a sound one and `trust` allows it, else the gateway's
-- (ctx.id). A request without one is the rule: prepared edits set the gateway's, and no Lua runs for it.
-- Else the id is worked out anew in each phase: that is one look-up, cheaper than a place to keep it, and so
-- answers have it too that never came to access (no route, a refused request).

local S = require "tidegate.schema"
local tg = require "tidegate"

local MAX = 128
local SOUND = "^[%w._~+/=-]+$"

local P = {
  name = "request-id",
  version = "1.0.0",
  api = 1,
  stage = "edge",
  priority = 100, -- what other plugins send or log has the id
  schema = S.record {
    header = S.header_name { editable = true }:default "x-request-id":doc "the header that carries the id",
    trust = S.bool():default(true):doc "keep a sound id that the client sent",
  },
}

function P.configure(conf)
  local when = conf.trust and ('not header[%q]'):format(conf.header) or nil
  local own = tg.edits { set = { [conf.header] = tg.template("${id}", "header") } }
  own:instead_of("access", when):instead_of("header_filter", when)
end

-- The client's id where it may be kept, else nil.
local function client_id(conf, ctx)
  local id = ctx.req:header(conf.header)
  if id and #id <= MAX and id:find(SOUND) then return id end
end

--- Sends the id to the origin. One that the client chose stands in the access record, beside ctx.id.
function P.access(conf, ctx)
  local id = client_id(conf, ctx)
  if id then ctx.log:field("request_id", id) end
  ctx.upstream:set_header(conf.header, id or ctx.id)
end

--- Sends the id to the client.
function P.header_filter(conf, ctx)
  ctx.resp:set_header(conf.header, client_id(conf, ctx) or ctx.id)
end

return P
