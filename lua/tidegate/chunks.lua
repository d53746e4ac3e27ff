-- The iterators over bodies that come piece by piece: core/bind/req.c and core/bind/http_response.c load this
-- once per VM, each with its own functions.
--
-- Purpose    `for chunk in ctx.req:chunks() do ... end`, and the same for a response of tg.http.
-- Invariants `at` is how many bytes this iterator has handed out. `step` checks `object` at every call, waits
--            for what comes at `at`, and returns it, nil at the end, or nil and an error.
-- Cost       One call per piece.

local begin, step = ...

return function(object)
  begin(object)
  local at = 0
  return function()
    local chunk, err = step(object, at)
    if chunk then at = at + #chunk end
    return chunk, err
  end
end
