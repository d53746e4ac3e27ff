--- Which build of the program is under test, where a spec must know.

local variant = {}

--- The name: "release", "asan", "tsan", "cover".
variant.name = os.getenv("TIDEGATE_BUILD") or "release"

--- Whether a plugin that spins is interrupted: ThreadSanitizer holds signals back until its thread makes
-- a call that it knows, which a spinning interpreter never does.
variant.interrupts = variant.name ~= "tsan"

return variant
