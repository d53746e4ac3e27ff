-- Lets consumers in by their groups.
--
-- Authentication comes before (stage auth); this looks at who it found. Nobody in particular is in no
-- group: such a request is refused where groups are allowed, and passes where some are only denied unless
-- `anonymous` says otherwise.

local S = require "tidegate.schema"

local groups = S.list(S.ref "group", { min = 1, max = 1000, unique = true })

local P = {
  name = "acl",
  version = "1.0.0",
  api = 1,
  stage = "guard",
  schema = S.record {
    allow = groups:optional():doc "groups whose consumers may pass; all others may not",
    deny = groups:optional():doc "groups whose consumers may not pass, whatever other groups they are in",
    anonymous = S.bool():default(false):doc "let requests of nobody in particular pass a list of deny",
  }:check(function(conf)
    if not conf.allow and not conf.deny then return nil, "one of these fields is needed: allow, deny" end
    if conf.allow and conf.anonymous then
      return nil, "anonymous goes with deny alone: nobody is in an allowed group"
    end
    return true
  end),
  metrics = {
    rejected = { type = "counter", labels = { "reason" }, help = "Requests refused for their consumer." },
  },
}

local function is_in_one(consumer, list)
  for _, group in ipairs(list) do
    if consumer:in_group(group) then return true end
  end
  return false
end

-- Why the consumer may not pass; nil when it may.
local function verdict(conf, consumer)
  if consumer.name == nil then return not conf.anonymous and "anonymous" or nil end
  if conf.deny and is_in_one(consumer, conf.deny) then return "denied" end
  if conf.allow and not is_in_one(consumer, conf.allow) then return "not_allowed" end
end

--- Refuses those who may not pass.
function P.access(conf, ctx)
  local reason = verdict(conf, ctx.consumer)
  if not reason then return end
  ctx.metrics:inc("rejected", { reason = reason })
  ctx:exit(403, {
    title = "Forbidden", status = 403, code = "not_in_group",
    detail = "this consumer may not do that", request_id = ctx.id,
  }, { ["content-type"] = "application/problem+json" })
end

return P
