-- `tidegate reload` and `tidegate rollback`: what became of the order.
--
-- Purpose    From the answer of /reload or /rollback, or the problem in its place, to what the gateway
--            printed and one line.
-- Ownership  A pure function of the answer and the command's name.

local function tell(answer, command)
  local digest = answer.digest:sub(1, 12)
  if answer.result == "taken" then
    return ("revision %d is in force (sha256 %s)"):format(answer.revision, digest)
  elseif answer.result == "refused" then
    return ("tidegate %s: %s; revision %d stays in force (sha256 %s)"):format(command, answer.reason,
                                                                             answer.revision, digest)
  end
  return answer.reason
end

return function(answers, command)
  local answer = answers[1]
  if answer.detail then return ("tidegate %s: %s\n"):format(command, answer.detail) end
  return ("%s%s\n"):format(answer.notes, tell(answer, command))
end
