-- "Did you mean …?": the nearest of a list of names.
--
-- Purpose    One rule for every message that meets an unknown name.
-- Rule       Names are compared without case and without "-" and "_". A candidate is near when its
--            Damerau-Levenshtein distance (insert, delete, replace, swap neighbours) is at most a third of
--            the name's length, and at least one edit is always allowed; failing that, when one is a prefix
--            of the other. The nearest wins; equals are settled by the alphabet, so the answer never depends
--            on order.
-- Ownership  Pure functions; no state.
-- Cost       Length of one name times the length of the other for each candidate; names over 64 bytes get no
--            suggestion, which bounds the work.

local suggest = {}

local LONGEST = 64
-- A prefix shorter than this says too little ("i" is a prefix of half the fields there are).
local SHORTEST_PREFIX = 2

local function plain(name)
  return (name:lower():gsub("[-_]", ""))
end

--- Damerau-Levenshtein distance (optimal string alignment) of two byte strings.
function suggest.distance(a, b)
  local before, last, row = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      local swapped = i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j)
      row[j] = swapped and math.min(best, before[j - 2] + 1) or best
    end
    before, last, row = last, row, before
  end
  return last[#b]
end

local function is_prefix(short, long)
  return #short >= SHORTEST_PREFIX and long:sub(1, #short) == short
end

--- The candidate nearest to `name`.
-- @tparam string name what was written
-- @tparam {string,...} candidates what could have been meant
-- @treturn string|nil
function suggest.nearest(name, candidates)
  local wanted = plain(name)
  if #wanted == 0 or #wanted > LONGEST then return nil end
  local allowed = math.max(1, math.floor(#wanted / 3))
  local best, best_distance
  local function offer(candidate, distance)
    if not best or distance < best_distance or (distance == best_distance and candidate < best) then
      best, best_distance = candidate, distance
    end
  end
  for _, candidate in ipairs(candidates) do
    local text = plain(candidate)
    if #text > 0 and #text <= LONGEST then
      local distance = math.abs(#text - #wanted) <= allowed and suggest.distance(wanted, text) or math.huge
      -- An edit that replaces every byte is no likeness.
      if distance <= allowed and distance < #text then
        offer(candidate, distance)
      elseif is_prefix(wanted, text) or is_prefix(text, wanted) then
        offer(candidate, LONGEST + #text)
      end
    end
  end
  return best
end

return suggest
