//go:build !race

package proctest_test

const raceEnabled = false
