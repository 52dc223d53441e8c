package coretest_test

//go:generate go tool -modfile=../../.ci/tools/go.mod msgp -unexported -tests=false -io=false -file=hostile_limited_test.go -o=hostile_limited_gen_test.go

//msgp:limit arrays:256 maps:64 marshal:true

// disk and report are what a program declares in a file with limits.
type disk struct {
	Name  string `msg:"name"`
	Space uint64 `msg:"space"`
	Sum   []byte `msg:"sum"`
}

type report struct {
	Disks  []disk            `msg:"disks"`
	Labels map[string]string `msg:"labels"`
	Marks  []uint32          `msg:"marks,limit=512"`
	Load   float64           `msg:"load"`
	Ready  bool              `msg:"ready"`
}
