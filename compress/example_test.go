package compress_test

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/gridmux/gridmux/compress"
)

// A codec is made once and shared by all handlers whose messages profit.
func Example() {
	codec := compress.Zstd()

	message := bytes.Repeat([]byte(`{"status":"paid","currency":"EUR"}`), 30)
	packed := codec.Append(nil, message)
	unpacked, err := codec.Decode(nil, packed, 16<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(codec.Name(), len(packed) < len(message)/10, bytes.Equal(unpacked, message))
	// Output: zstd true true
}

// Small messages need a dictionary, which is trained on others of the kind.
func ExampleTrain() {
	record := func(i int) []byte {
		return fmt.Appendf(nil, `{"id":%d,"status":"paid","currency":"EUR","customer":{"tier":"free"}}`, i*7919)
	}
	var samples [][]byte
	for i := range 200 {
		samples = append(samples, record(i))
	}
	dictionary, err := compress.Train(samples, 1024)
	if err != nil {
		fmt.Println(err)
		return
	}
	codec := compress.S2(compress.WithDictionary(dictionary))

	message := record(1000)
	fmt.Println("without:", len(codec.Append(nil, message)) < len(message)/2)
	fmt.Println("with:", len(codec.AppendDict(nil, message, dictionary.ID())) < len(message)/2)
	// Output:
	// without: false
	// with: true
}

// To replace a dictionary, every node gets the new one in front of the old one,
// node by node. Nodes agree on the first that both have.
func ExampleWithDictionary() {
	var samples [][]byte
	for i := range 200 {
		samples = append(samples, fmt.Appendf(nil, `level=INFO msg="object written" node=storage-%02d size=%d`, i%8, i*4093))
	}
	old, err := compress.Train(samples[:100], 512)
	if err != nil {
		fmt.Println(err)
		return
	}
	replacement, err := compress.Train(samples[100:], 512)
	if err != nil {
		fmt.Println(err)
		return
	}
	updated := compress.Zstd(compress.WithDictionary(replacement, old))
	waiting := compress.Zstd(compress.WithDictionary(old))

	for _, id := range updated.Dictionaries() {
		if !slices.Contains(waiting.Dictionaries(), id) {
			continue
		}
		packed := updated.AppendDict(nil, samples[0], id)
		unpacked, err := waiting.DecodeDict(nil, packed, id, 1<<20)
		fmt.Println(id == old.ID(), bytes.Equal(unpacked, samples[0]), err)
		break
	}
	// Output: true true <nil>
}

// An impossible option is reported by Err, which a program asks once.
func ExampleCodec_Err() {
	codec := compress.Zstd(compress.WithWindow(100))
	fmt.Println(codec.Err())
	// Output: compress: zstd: WithWindow(100): a window is a power of two from 65536 to 8388608
}
