import java.lang.reflect.Field;
import sun.misc.Unsafe;

// Allocates outside of the heap, through methods that the JVM compiles. Says "ready", waits, says "done", waits.
public class Allocate {
    static final long SIZE = 1234568;
    static Unsafe unsafe;

    static void leafWork(long size) {
        unsafe.freeMemory(unsafe.allocateMemory(size));
    }

    static void tick(long size) {
        for (int i = 0; i < 10; i++)
            leafWork(size);
    }

    static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static void awaitLine() throws Exception {
        int character;
        do
            character = System.in.read();
        while (character != '\n' && character != -1);
    }

    public static void main(String[] arguments) throws Exception {
        Field field = Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        unsafe = (Unsafe) field.get(null);
        // Both compilers are done with it then.
        for (int i = 0; i < 20000; i++)
            tick(64);
        say("ready");
        awaitLine();
        for (int i = 0; i < 200; i++) {
            tick(SIZE);
            Thread.sleep(1);
        }
        say("done");
        awaitLine();
    }
}
