--- Greets whoever is named in the path: the smallest plugin that does something.
local S = require "tidegate.schema"

local P = {
  name = "hello",
  version = "1.0.0",
  api = 1,
  stage = "traffic",
  schema = S.record {
    greeting = S.string { min = 1, max = 80 }:default "Hello":doc "what comes before the name",
  },
}

--- Runs when the route is known; the answer ends the request here.
function P.access(conf, ctx)
  local name = ctx.req.path:match "^/hello/([%w%-_]+)$"
  if not name then
    ctx:exit(404, { error = "write /hello/NAME, with letters and digits" })
  end
  ctx:exit(200, { greeting = conf.greeting .. ", " .. name .. "!", request_id = ctx.id })
end

return P
