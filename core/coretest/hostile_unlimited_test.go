package coretest_test

//go:generate go tool -modfile=../../.ci/tools/go.mod msgp -unexported -tests=false -io=false -file=hostile_unlimited_test.go -o=hostile_unlimited_gen_test.go

// The types of this file have no limits, and each has what hostile messages
// can use.

type unlimitedList struct {
	Items []uint64 `msg:"items"`
}

type unlimitedMap struct {
	Inner map[string]string `msg:"inner"`
}

type anything struct { //nolint:recvcheck // as it was generated
	Value any `msg:"value"`
}

type tree struct {
	Name     string `msg:"name"`
	Children []tree `msg:"children"`
}
