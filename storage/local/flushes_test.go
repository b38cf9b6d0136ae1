package local

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"barid/internal/journal/faultfs"
)

// TestEveryFlushIsNeeded takes away one flush of the store after the other and
// demands that a drill then loses something that was promised. A flush of which
// nobody notices that it is missing is not needed, or wants a drill. The
// journal has a test of this name for its own. docs/durability.md lists all.
func TestEveryFlushIsNeeded(t *testing.T) {
	sites, err := faultfs.FindSites(".", "../maildir", "../metadata", "../../internal/journal")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/durability.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "| `"), "`")
		of, _, _ := strings.Cut(name, ".")
		if slices.Contains([]string{"local", "maildir", "metadata"}, of) && strings.HasPrefix(line, "| `") && !slices.Contains(sites.Names(), name) {
			t.Errorf("docs/durability.md tells of the flush %q, which is not in the code", name)
		}
	}
	places := placesOf(t, sites)
	for _, name := range sites.Names() {
		if strings.HasPrefix(name, "journal.") {
			continue // has its own test
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(string(text), "\n| `"+name+"` |") {
				t.Errorf("docs/durability.md does not tell of it")
			}
			how := missed(sites, name, places)
			if how == "" {
				t.Fatal("nobody notices that it is missing: it is not needed, or a drill is missing")
			}
			t.Log(how)
		})
	}
}

// place is where a drill comes by a flush.
type place struct {
	drill drill
	dumps []string
	// flushes has the number of the operation of each flush, by site.
	flushes map[string][]int
	total   int
}

// placesOf runs all drills and notes by which flushes they come.
func placesOf(t *testing.T, sites *faultfs.Sites) (list []*place) {
	t.Helper()
	for _, d := range drills() {
		p := &place{drill: d, flushes: map[string][]int{}}
		disk, err := d.disk()
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // the journal prepares segments by itself
		disk.IgnoreFlush(func(faultfs.Op) bool {
			mu.Lock()
			defer mu.Unlock()
			if name := sites.Caller(); slices.Contains(sites.Names(), name) {
				p.flushes[name] = append(p.flushes[name], disk.Ops()+1)
			} else if name != "" {
				t.Errorf("%s: a flush of nobody: %s", d.name, name)
			}
			return false
		})
		if w := d.run(disk); w.err != nil {
			t.Fatalf("%s: %v", d.name, w.err)
		}
		p.total = disk.Ops()
		if p.dumps, _, err = d.expected(false); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// missed runs drills without a flush until one goes wrong, and tells how.
func missed(sites *faultfs.Sites, name string, places []*place) string {
	for seed := range int64(40) {
		for _, p := range places {
			at := p.flushes[name]
			for i := range min(len(at), 4) {
				from := at[i*len(at)/min(len(at), 4)]
				// Soon after it, or a little or much later.
				for _, n := range []int{from + 1, from + 2 + int(seed)%4, from + 3 + int(seed)*2, p.total} {
					if how := p.without(sites, name, n, seed); how != "" {
						return how
					}
				}
			}
		}
	}
	return ""
}

// without cuts the power at operation n of a
// program without that flush, and tells what is wrong then.
func (p *place) without(sites *faultfs.Sites, name string, n int, seed int64) string {
	disk, err := p.drill.disk()
	if err != nil {
		return ""
	}
	sites.Ignore(disk, name)
	disk.StopAt(n)
	w := p.drill.run(disk)
	if w.before {
		return ""
	}
	err = p.drill.holds(w, disk.Cut(rand.New(rand.NewSource(seed))), p.dumps, false)
	if err != nil {
		return fmt.Sprintf("drill %q, operation %d, outcome %d: %.600v", p.drill.name, n, seed, err)
	}
	return ""
}

// docs/durability.md names tests that exist.
func TestTheDocumentOfDurabilityNamesTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/durability.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, dir := range []string{".", "../../internal/journal", "../../test/bench"} {
		files, err := filepath.Glob(dir + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(source)
		}
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	if len(names) < 15 {
		t.Errorf("%d tests", len(names))
	}
	for _, name := range names {
		if !strings.Contains(tests.String(), "func "+name[1]+"(") {
			t.Errorf("there is no %s", name[1])
		}
	}
}
