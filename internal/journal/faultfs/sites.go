package faultfs

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Sites are the places of a program that flush, so that a test can take away
// one after the other (IgnoreFlush) and look who notices.
type Sites struct {
	list []site
	dirs []string // last part of each directory
}

// site is one call.
type site struct {
	file string // directory and name
	line int
	name string
}

// flushNames are what a flush is called: the methods of journal.FS and
// journal.File, and functions that only hand on to them (wrappers).
var flushNames = []string{"Datasync", "SyncDir", "SyncFS", "Sync", "Syncfs", "Fdatasync", "Fsync", "datasync", "syncDir", "syncFiles", "flushFiles"}

// wrappers are functions whose callers are the sites, and the seam itself.
var wrappers = []string{
	"(*Config).datasync", "(*Config).syncDir", "(*mark).write", "(*Store).syncFiles", "(*Store).flushFiles",
	"discreet.SyncDir", "discreet.SyncFS", "discreetFile.Datasync", "(*osFS).SyncDir", "(*osFS).SyncFS", "(*osFile).Datasync",
}

// FindSites reads the Go files of the directories, tests left out.
func FindSites(dirs ...string) (*Sites, error) {
	s := &Sites{}
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		s.dirs = append(s.dirs, path.Base(filepath.ToSlash(abs)))
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			if err := s.read(file, path.Base(filepath.ToSlash(abs))); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(s.list, func(a, b site) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line)) })
	count := map[string]int{}
	for i := range s.list {
		of := &s.list[i]
		count[of.name]++
		of.name = fmt.Sprintf("%s %d", of.name, count[of.name])
	}
	return s, nil
}

func (s *Sites) read(file, dir string) error {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		return err
	}
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil || slices.Contains(wrappers, funcName(f)) {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && flushes(call) {
				at := set.Position(call.Lparen)
				s.list = append(s.list, site{dir + "/" + filepath.Base(file), at.Line, dir + "." + funcName(f)})
			}
			return true
		})
	}
	return nil
}

// funcName names a function as package runtime does, without its package.
func funcName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	switch t := f.Recv.List[0].Type.(type) {
	case *ast.StarExpr:
		if id, ok := t.X.(*ast.Ident); ok {
			return "(*" + id.Name + ")." + f.Name.Name
		}
	case *ast.Ident:
		return t.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

// flushes tells a call that flushes, or one that is told how to.
func flushes(call *ast.CallExpr) bool {
	if s, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(flushNames, s.Sel.Name) {
		return true
	}
	for _, arg := range call.Args {
		if s, ok := arg.(*ast.SelectorExpr); ok && slices.Contains(flushNames, s.Sel.Name) {
			return true
		}
	}
	return false
}

// Names gives the names of all sites: package, function, and which of its
// flushes from the top.
func (s *Sites) Names() []string {
	var names []string
	for _, of := range s.list {
		names = append(names, of.name)
	}
	return names
}

// Caller gives the name of the site that the calling goroutine flushes from:
// the innermost call that is one. When there is none, but a function of the
// directories flushes, it is that function and no site; else "".
func (s *Sites) Caller() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	unknown := ""
	for {
		frame, more := frames.Next()
		file := path.Base(path.Dir(filepath.ToSlash(frame.File))) + "/" + path.Base(filepath.ToSlash(frame.File))
		if slices.Contains(s.dirs, path.Dir(file)) && !strings.HasSuffix(file, "_test.go") {
			for _, of := range s.list {
				if of.file == file && of.line == frame.Line {
					return of.name
				}
			}
			if unknown == "" {
				unknown = frame.Function + ", which is no known place of a flush"
			}
		}
		if !more {
			return unknown
		}
	}
}

// Ignore lets the flushes of one site do nothing on this disk.
func (s *Sites) Ignore(d *FS, name string) {
	d.IgnoreFlush(func(Op) bool { return s.Caller() == name })
}

// Unsynced tells how many octets were written to a file since its last flush.
func (d *FS) Unsynced(name string) (octets int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil {
		return 0, pathError("look at", name, err)
	}
	for _, p := range n.pending {
		octets += int64(len(p.data))
	}
	return octets, nil
}

// Revive gives the disk back after StopAt as if the process had been killed and
// not the power: what was written is there, flushed or not.
func (d *FS) Revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.stopAt = false, 0
}
