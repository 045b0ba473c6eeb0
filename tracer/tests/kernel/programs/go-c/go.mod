module goc

go 1.19
