package compress

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// MaxDictionary is the largest dictionary in bytes.
const MaxDictionary = 128 << 10

// Dictionary is content that messages are expected to have in common. It is
// what makes small messages compressible, which have little to repeat of
// themselves. Both codecs take it, S2 the last 64 KiB of its content. It cannot
// be changed and may be shared.
type Dictionary struct {
	id      uint64
	raw     []byte
	content []byte
	frameID uint32 // what frames of zstd call it
}

// ParseDictionary returns the dictionary that the bytes are: those of
// [Dictionary.Bytes], or any in the format of zstd, as "zstd --train" makes
// them, of at most [MaxDictionary] bytes. It keeps a copy.
func ParseDictionary(b []byte) (d *Dictionary, err error) {
	if len(b) > MaxDictionary {
		return nil, fmt.Errorf("compress: dictionary of %d bytes, limit %d", len(b), MaxDictionary)
	}
	defer func() {
		if p := recover(); p != nil {
			d, err = nil, fmt.Errorf("compress: no dictionary: %v", p)
		}
	}()
	raw := bytes.Clone(b)
	in, err := zstd.InspectDictionary(raw)
	if err != nil {
		return nil, fmt.Errorf("compress: no dictionary: %w", err)
	}
	sum := sha256.Sum256(raw)
	d = &Dictionary{id: binary.BigEndian.Uint64(sum[:]), raw: raw, content: in.Content(), frameID: in.ID()}
	if d.id == 0 || len(d.content) < 16 {
		return nil, fmt.Errorf("compress: dictionary with %d bytes of content", len(d.content))
	}
	return d, nil
}

// ID returns what the two sides of a connection call the dictionary: the first 8
// bytes of the SHA-256 of [Dictionary.Bytes], big-endian. It is not 0.
func (d *Dictionary) ID() uint64 { return d.id }

// Bytes returns the dictionary as [ParseDictionary] takes it. The caller must
// not change the slice.
func (d *Dictionary) Bytes() []byte { return d.raw }

// Train makes a dictionary of about size bytes, or of 8 KiB if size is 0, from
// samples of what is to be compressed with it. A few hundred messages of the
// kind are a beginning, a hundred times the size in all is enough; a mixture of
// kinds wants more of both. Samples count with their first 64 KiB, and with 32
// MiB in all; those of less than 8 bytes do not count.
//
// The same samples make the same dictionary, but only with the same version of
// this package: train once, and give all nodes the same bytes. Whatever the
// samples have in common may stand in the dictionary, secrets too.
func Train(samples [][]byte, size int) (*Dictionary, error) {
	if size == 0 {
		size = 8 << 10
	}
	// The tables in front of the content take some hundred bytes.
	if size < 256 || size > MaxDictionary-trainTables {
		return nil, fmt.Errorf("compress: dictionary of %d bytes, from 256 to %d can be trained", size, MaxDictionary-trainTables)
	}
	var used [][]byte
	total := 0
	for _, s := range samples {
		s = s[:min(len(s), trainSample)]
		if len(s) < 8 {
			continue
		}
		if total += len(s); total > trainTotal {
			break
		}
		used = append(used, s)
	}
	if len(used) < 2 {
		return nil, errors.New("compress: a dictionary takes two samples or more of at least 8 bytes")
	}
	content := cover(used, size)
	if len(content) < 16 {
		return nil, errors.New("compress: the samples have nothing in common")
	}
	sum := sha256.Sum256(content)
	raw, err := buildZstd(zstd.BuildDictOptions{
		// Numbers of two bytes, of which those from 1<<15 are free for private use.
		ID:       1<<15 | uint32(sum[0])<<7 | uint32(sum[1])>>1,
		Contents: used,
		History:  content,
		Offsets:  [3]int{1, 4, 8},
		Level:    zstd.SpeedDefault,
		// The zstd command compresses with no other kind before version 1.5.6.
		CompatV155: true,
	})
	if err != nil {
		return nil, fmt.Errorf("compress: the samples make no dictionary: %w", err)
	}
	return ParseDictionary(raw)
}

const (
	trainSample = 64 << 10
	trainTotal  = 32 << 20
	trainTables = 1 << 10
)

// buildZstd returns what the library makes of the content, which is its tables
// in front of it.
func buildZstd(o zstd.BuildDictOptions) (raw []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return zstd.BuildDict(o)
}
