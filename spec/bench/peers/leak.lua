-- A plugin that keeps something of every request, each a little more than the last.
local P = { name = "leak", version = "1.0.0", api = 1, stage = "guard" }
local kept = {}

function P.access(_, ctx)
  kept[#kept + 1] = { id = ctx.id, text = ("%d "):format(#kept):rep(500 + #kept % 500) }
end

return P
