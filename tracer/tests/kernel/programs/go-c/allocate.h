void allocate_in_c(int rounds);
void allocate_after_go(void);
