-- The loop of regex:gsub(), which calls the plugin's function and must stay yieldable there; a C function
-- on LuaJIT cannot be. core/bind/regex_gsub.c loads this once per VM and says what the functions mean.
--
-- Purpose    Replacements may suspend, and a long text is worked through in steps that can be preempted.
-- Invariants `work` is seen by nobody else. It points into regex, subject and replacement, which the
--            locals keep alive.
-- Cost       One call for each match that a function replaces, one for up to 64 that a text replaces.

local begin, captures, step, finish = ...

return function(regex, text, replacement, max)
  local work, found, calls, subject = begin(regex, text, replacement, max)
  if calls then
    while found do work, found = step(work, (replacement(captures(work)))) end
  else
    while found do work, found = step(work) end
  end
  return finish(work, subject)
end
