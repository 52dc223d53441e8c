package main

// laneMutants are in the lanes of sessions. That a drain waits for lanes on their way
// is held by tests of core/internal/suite/lanes: in the simulated network all lanes
// of a connection share a link that keeps their order.
var laneMutants = []mutant{
	{
		name: "lane-closed-with-a-call",
		why:  "a lane that is used again counts as free, and is closed under its call",
		file: "core/lanes.go",
		old:  "\t\tls.idle = slices.Delete(ls.idle, n-1, n)\n",
		new:  "",
	},
}
