-- A plugin as it should be: reads, counts, adds a header.
local P = { name = "well", version = "1.0.0", api = 1, stage = "guard" }
local served = 0

function P.access(_, ctx)
  served = (served + 1) % 1000
  ctx.upstream:set_header("x-served", tostring(served))
end

function P.header_filter(_, ctx)
  ctx.resp:set_header("x-request", ctx.id)
end

return P
