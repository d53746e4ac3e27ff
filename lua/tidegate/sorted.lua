-- The keys of a table in order, for whatever is written from one: pairs() gives another order each run.
--
-- Ownership  The list is the caller's.
-- Cost       That of sorting.

--- @tparam table map keys of one type that can be compared
-- @treturn table its keys, in ascending order
return function(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end
