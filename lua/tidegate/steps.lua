-- The loop of functions whose work may take longer than a slice: core/bind/crypto_pbkdf2.c and
-- core/bind/gzip.c load this once per VM and do the work in steps of a millisecond or two.
--
-- Purpose    A plugin that derives a key or compresses a body is preempted between two steps, and its
--            CPU budget holds.
-- Invariants `work` is seen by nobody else; it is a userdata that holds no resource, and may point into
--            `input`, which this local keeps alive. `out` is what has been made; a step may replace it.
-- Cost       One call per step.

local begin, step, finish = ...

return function(...)
  local work, more, out, input = begin(...)
  while more do more, out = step(work, out) end
  return finish(work, out, input)
end
