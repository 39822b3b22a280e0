"""The rewards and the ladder of a recipe for other trainers: TRL, and environments of verifiers."""
