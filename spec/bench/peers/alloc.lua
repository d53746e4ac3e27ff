-- A plugin that allocates without end, and catches what it can of the consequences.
local P = { name = "alloc", version = "1.0.0", api = 1, stage = "guard" }

function P.access()
  while true do
    pcall(function()
      local t = {}
      for i = 1, 1e9 do t[i] = { #t, ("x"):rep(i % 100) } end
    end)
  end
end

return P
