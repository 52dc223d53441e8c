package main

// laneMutants are in the lanes of sessions.
var laneMutants = []mutant{
	{
		name: "drained-too-early",
		why:  "a drain does not wait for lanes that calls or answers are on their way on",
		file: "core/lanes.go",
		old:  "\treturn ls.accepted >= ls.announced &&\n",
		new:  "\treturn true || ls.accepted >= ls.announced &&\n",
	},
	{
		name: "lane-closed-with-a-call",
		why:  "a lane that is used again counts as free, and is closed under its call",
		file: "core/lanes.go",
		old:  "\t\tls.idle = ls.idle[:n-1]\n\t\tl.lane.resting = false\n",
		new:  "",
	},
	{
		name: "recall-of-one-lane",
		why:  "GOAWAY takes back what waits on the first lane alone",
		file: "core/session.go",
		old:  "\t\tl.recall(errNoNewCalls)\n",
		new:  "\t\t_ = l\n",
	},
	{
		name: "lane-never-at-rest",
		why:  "a lane whose call is over is not used again",
		file: "core/call.go",
		old:  "\t\ts.root.laneAtRest(s)\n",
		new:  "\t\t_ = s\n",
	},
}
