package typed_test

//go:generate go tool -modfile=../../../../.ci/tools/go.mod msgp -io=false -tests=false -o=message_gen_test.go

// Point has fields of fixed size alone.
type Point struct {
	X, Y   int64
	Weight float64
	Valid  bool
}

// Block is a Point of some hundred bytes.
type Block struct {
	ID   uint64
	Hash [32]byte
	Data [448]byte
}

// Document has fields of any size.
type Document struct {
	Title  string
	Tags   []string
	Fields map[string]string
	Body   []byte
}

// Label is a message that is no map.
type Label string //nolint:recvcheck // as it is generated
