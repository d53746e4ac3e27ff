-- The loop of cache:fetch(), which calls the plugin's function and must stay yieldable there; a C function on
-- LuaJIT cannot be. core/bind/cache.c loads this once per VM and says what the functions mean that it gives.
--
-- Purpose    One caller of all workers computes a missing value, the others wait and find it.
-- Invariants A flight that `begin` gave ends by `finish` or `give_up`, or, when the activation is killed or
--            exits inside `compute`, by the host. `pcall` is the sandbox's: it lets kills pass.
--            Whose turn it is looks into the cache once more: `begin` looked before it took the turn, and
--            in between another may have stored the value.
-- Cost       A hit is one call more than cache:get().

local begin, look, finish, give_up, pcall, error = ...

local function settle(flight, ok, value, err)
  if ok then
    return finish(flight, value, err)
  end
  give_up(flight)
  error(value, 0)
end

return function(cache, key, options, compute)
  local flight, value, err
  repeat
    flight, value, err = begin(cache, key, options, compute)
  until flight ~= false
  if not flight then
    return value, err
  end
  local found, stored = look(flight)
  if found then
    return stored
  end
  return settle(flight, pcall(compute))
end
