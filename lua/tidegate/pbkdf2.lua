-- The loop of tg.crypto.pbkdf2(), which may take longer than a slice: core/bind/crypto_pbkdf2.c loads this once per
-- VM and does the work in steps of well under a millisecond.
--
-- Purpose    A plugin that derives a key is preempted between two steps like any other, and its CPU budget holds.
-- Invariants `work` is seen by nobody else; it is a userdata of a few hundred bytes and holds no resource.
-- Cost       One call per 500 iterations.

local begin, step, finish = ...

return function(...)
  local work = begin(...)
  while not step(work) do end
  return finish(work)
end
