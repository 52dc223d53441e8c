package typed_test

//go:generate go tool -modfile=../../../../.ci/tools/go.mod msgp -io=false -tests=false -o=limited_gen_test.go

//msgp:limit arrays:100 maps:10 marshal:true

// Limited is a Document of a few elements.
type Limited struct {
	Tags   []string
	Fields map[string]string
	Body   []byte
}
