package main

import (
	"os"
	"path/filepath"
	"strings"
)

// sharedKeys returns what the files of a directory contain, in the order of their
// names: the first key proves, all verify.
func sharedKeys(dir string) (keys [][]byte, err error) {
	files, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") {
			continue // the kubelet's own
		}
		key, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
