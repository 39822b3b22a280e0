"""From a response to a number: what a judge's verdict on (response, reference) is worth."""
