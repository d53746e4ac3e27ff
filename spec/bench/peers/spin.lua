-- A plugin that never ends, for spin.neighbour_p99: each request is killed when its CPU budget is used up.
local P = { name = "spin", version = "1.0.0", api = 1, stage = "guard" }

function P.access()
  while true do end
end

return P
