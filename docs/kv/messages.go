//nolint:recvcheck // msgp chooses the receivers of the methods that it makes
package main

import "cmp"

// In a module of your own: go get -tool github.com/tinylib/msgp, and without -modfile.
//go:generate go tool -modfile=../../.ci/tools/go.mod msgp -io=false -tests=false

//msgp:limit arrays:65536 maps:16 marshal:true

// GetRequest asks for the entry of a key.
type GetRequest struct {
	Key string `msg:"key"`
}

// PutRequest gives a key a value, of at most 64 KiB as the limit above says.
type PutRequest struct {
	Key   string `msg:"key"`
	Value []byte `msg:"value"`
}

// PutResponse tells the version that the value has got.
type PutResponse struct {
	Version uint64 `msg:"version"`
}

// WatchRequest asks for all keys with a prefix, which may be empty.
type WatchRequest struct {
	Prefix string `msg:"prefix"`
}

// Entry is a key with its value, and what orders the values that it had: Version,
// and where two nodes have given the same one, Writer. One of version 0 is none.
type Entry struct {
	Key     string `msg:"key"`
	Value   []byte `msg:"value"`
	Version uint64 `msg:"version"`
	Writer  string `msg:"writer"`
}

// compare is below 0 if e is older than other, and 0 if they are the same.
func (e *Entry) compare(other *Entry) int {
	return cmp.Or(cmp.Compare(e.Version, other.Version), cmp.Compare(e.Writer, other.Writer))
}
