-- Masks words in what clients say, and closes on those who go on with them.

local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "manners",
  version = "1.0.0",
  api = 1,
  stage = "guard",
  schema = S.record {
    words = S.list(S.string { pattern = "^%l+$", max = 64 }, { min = 1, max = 100 }):doc "in lower case",
    patience = S.int { min = 1 }:default(3):doc "how many of them a client may say",
  },
  metrics = { masked = { type = "counter", help = "Words that were masked." } },
}

function P.configure(conf)
  return assert(tg.re.compile("\\b(?:" .. table.concat(conf.words, "|") .. ")\\b", "i"))
end

--- One message, whole: nothing passes it, a string takes its place, false drops it.
function P.message(conf, ctx, data, kind, from)
  if from ~= "client" or kind ~= "text" then return end
  local masked, n = conf.compiled:gsub(data, "****")
  if n == 0 then return end
  ctx.metrics:inc("masked", nil, n)
  ctx.state.said = (ctx.state.said or 0) + n
  if ctx.state.said >= conf.patience then ctx:close(4003, "mind your language") end
  return masked
end

return P
