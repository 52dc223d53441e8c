package core

import (
	"reflect"
	"testing"
	"time"
)

// TestFixedSize holds which types need no look at the structure of their messages:
// those of which no value holds memory that is not its own.
func TestFixedSize(t *testing.T) {
	type point struct {
		X, Y   int64
		Weight float64
		Valid  bool
	}
	for want, types := range map[bool][]reflect.Type{
		true: {
			reflect.TypeFor[bool](), reflect.TypeFor[uint8](), reflect.TypeFor[complex128](), reflect.TypeFor[point](),
			reflect.TypeFor[[32]byte](), reflect.TypeFor[[4]struct{ In [2]point }](), reflect.TypeFor[struct{}](),
		},
		false: {
			reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[map[int]int](), reflect.TypeFor[*point](),
			reflect.TypeFor[any](), reflect.TypeFor[time.Time](), reflect.TypeFor[[2]struct{ Name string }](), reflect.TypeFor[struct{ point *point }](),
		},
	} {
		for _, typ := range types {
			if got := fixedSize(typ); got != want {
				t.Errorf("fixedSize(%v) = %v", typ, got)
			}
		}
	}
}
