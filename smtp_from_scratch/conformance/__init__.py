"""Does it conform? Dialogues from the RFCs, played at any server and any client."""
