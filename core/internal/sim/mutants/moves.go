package main

// moveMutants are in how two nodes go from one transport to another.
var moveMutants = []mutant{
	{
		name: "move-ends-the-old",
		why:  "a session that takes over ends the one before, and the calls on it",
		file: "core/succession.go",
		old:  "\tif s.moves && old != nil {\n",
		new:  "\tif s.moves && old != nil && s.side == 0 {\n",
	},
}
