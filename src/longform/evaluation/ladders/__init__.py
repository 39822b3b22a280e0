"""Check ladders with the judge that will give the reward: are neighbouring rungs in the right order?"""
